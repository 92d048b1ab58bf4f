"""Reports of a run: for the terminal, as HTML, Markdown, JUnit XML and JSON."""
