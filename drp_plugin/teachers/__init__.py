"""Teachers: whoever cuts, revises and rewrites a student's trace."""
