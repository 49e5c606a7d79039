"""Log-in by e-mail address, beside the stock log-in by user name."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest


class EmailBackend(ModelBackend):
    """Finds the user by e-mail address without regard to case; an address that several users share logs nobody in."""

    def authenticate(
        self,
        request: HttpRequest | None,  # noqa: ARG002 - Django's signature
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> User | None:
        if not username or password is None or "@" not in username:
            return None
        found = User.objects.filter(email__iexact=username)[:2]
        if len(found) != 1:
            User().set_password(password)  # the same work as a real check: the time taken tells no address
            return None
        user = found[0]
        return user if user.check_password(password) and self.user_can_authenticate(user) else None
