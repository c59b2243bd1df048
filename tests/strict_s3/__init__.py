"""An S3 server that refuses whatever any server may refuse, and answers as oddly as any may.

It verifies signatures by its own arithmetic, every hash that it is sent, and that lengths are told;
it knows one region, keeps its clock, hands out small pages with tokens that mean nothing to others,
gives ETags that are no MD5, and is busy or in conflict every now and then.
"""

from tests.strict_s3.serving import HOST, REGION, StrictServer, strict

__all__ = ["HOST", "REGION", "StrictServer", "strict"]
