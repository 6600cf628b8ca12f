"""ODS organisations, mailboxes, and the polling schedule."""
