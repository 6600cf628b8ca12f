"""The pages of the address book, below ``/t/<team>/addresses/``."""

from __future__ import annotations

from django.urls import path

from mailboxes.views import addresses

app_name = "addresses"

urlpatterns = [
    path("", addresses.AddressBook.as_view(), name="list"),
    path("add/", addresses.AddAddress.as_view(), name="add"),
    path("<uuid:pk>/", addresses.AddressPage.as_view(), name="detail"),
    path("<uuid:pk>/check/", addresses.CheckNow.as_view(), name="check"),
    path("<uuid:pk>/confirm/", addresses.Confirm.as_view(), name="confirm"),
    path("<uuid:pk>/remove/", addresses.Remove.as_view(), name="remove"),
]
