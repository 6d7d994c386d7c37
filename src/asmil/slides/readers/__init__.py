"""One slide reader per file; the file's name is the reader's name, its class is READER."""
