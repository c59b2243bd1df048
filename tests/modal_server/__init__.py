"""A Modal server for tests: the unmodified client talks to it, and functions really run.

``python -m tests.modal_server --port P --root DIR --max-containers N`` serves gRPC on 127.0.0.1:P.
A client whose ``MODAL_SERVER_URL`` names it deploys apps, spawns calls, reads logs and volumes; the
functions run in the client's own container runtime, each container a subprocess of this machine.
Tests start one with ``starting.modal_server()``.

What differs from the service, and is meant to:

- Images are recorded, not built: containers run in this interpreter's environment. ``ENV``,
  ``WORKDIR`` and ``COPY`` of local files are carried out, every other layer is a no-op.
- A container has a root directory of its own (see ``private_root``): ``/root``, volumes and mounts
  appear at their remote paths, and nothing of that is seen on the machine. This takes Linux, and
  root or user namespaces.
- A volume's writes are seen by others after ``commit()``, and there after ``reload()`` only.
- Retries are counted by the server, and never spent on killed or preempted containers.
- A container that exits by itself three times on one input, or at its start, is a crash loop.
- What must not be lost is in ``DIR/state.sqlite`` before an answer is given: a server that is
  killed and started again on the same root finds its apps and calls, and what still runs.
- Where a server is killed and none follows within ``--grace`` seconds, a guard ends its containers.
"""
