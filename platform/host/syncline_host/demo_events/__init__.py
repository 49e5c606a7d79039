"""`make demo-events`: a system's webhooks become messages of a topic, and the topic's messages licences."""
