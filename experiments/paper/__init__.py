"""The paper's figures and tables, each from one command, with the published numbers beside ours."""
