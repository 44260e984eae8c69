"""Decisions: pure and synchronous. No asyncio, zmq, os or time is imported below this package."""
