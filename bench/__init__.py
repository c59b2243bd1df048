"""The same work done side by side by this plugin and by its peers: `python -m bench`."""
