"""The measures of ``curvcli sharpness``: a file for those that share work, and a line each in the registry."""
