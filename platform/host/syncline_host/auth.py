"""Log-in by e-mail address, beside the stock log-in by user name."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest


class EmailBackend(ModelBackend):
    """Finds the user by e-mail address without regard to case; an address that several users share logs nobody in."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> AbstractBaseUser | None:
        address = username or kwargs.get("email")
        if not address or password is None or "@" not in address:
            return None
        found = get_user_model()._default_manager.filter(email__iexact=address)[:2]
        if len(found) != 1:
            get_user_model()().set_password(password)  # the same work as a real check: timing tells no address
            return None
        user = found[0]
        return user if user.check_password(password) and self.user_can_authenticate(user) else None
