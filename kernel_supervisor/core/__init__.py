"""Values and decisions that every room shares: pure and synchronous. No asyncio, zmq, os or time is imported here."""
