"""GP system switches: a practice's MESH address changes, and no letter may go on to the old one (domain notes c).

From a first sign that something changed (:mod:`signals`) to a case (:mod:`cases`) that moves by rules (:mod:`states`,
:mod:`moves`), holds what would go to the old address (:mod:`holding`) and lets it go to the new one once two people agree
(:mod:`release`). The app of messages is above this one: it calls in, and answers what is asked of it through :mod:`asking`.
"""
