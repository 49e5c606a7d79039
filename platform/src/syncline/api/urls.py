"""The host's API below /api/v1/."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from . import messages, plans, pulls, views

router = SimpleRouter()
router.register("connections", views.ConnectionViewSet, basename="connection")
router.register("syncs", views.SyncViewSet, basename="sync")
router.register("runs", views.RunViewSet, basename="run")
router.register("plans", plans.PlanViewSet, basename="plan")
router.register("arrivals", pulls.ArrivalViewSet, basename="arrival")
router.register("conflicts", pulls.ConflictViewSet, basename="conflict")
router.register("dead-letters", messages.DeadLetterViewSet, basename="dead-letter")
urlpatterns = router.urls
