"""Handing received messages on to the consumers of a mailbox: a folder in the layout of the MESH client, or a webhook.

============  ======================================================================================================
``rows``      what is made with a stored message, and how it is written
``folder``    the files of one message, and the crash table
``webhook``   the request of one message, and how it is signed
``turn``      one round on one outlet, and which outlet is due
``services``  what people do: hand on again
============  ======================================================================================================
"""
