"""Reading feature files: what lies where in a file of any format, and a slide of it as a bag."""
