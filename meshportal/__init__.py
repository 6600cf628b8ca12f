"""meshportal: a web portal for NHS organisations that run many MESH mailboxes."""
