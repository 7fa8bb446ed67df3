"""Reports of a plan: figures (`summary`), for a terminal (`text`), and as a page with a picture (`html`)."""
