"""One plug-in of every kind that edgepack takes, each in one file."""
