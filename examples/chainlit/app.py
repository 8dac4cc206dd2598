"""Chainlit's thumbs as votes: one per person and answer, which changes when the person does.

    HINDSIGHT_URL=http://127.0.0.1:8787 HINDSIGHT_KEY=hsk_… chainlit run app.py
"""

import os

import chainlit as cl
import httpx
from chainlit.types import Feedback


@cl.on_message
async def answer(question: cl.Message):
    reply = cl.Message(content="")
    # Your model's answer. With a gateway, send `reply.id` as the request's trace id (Portkey: `x-portkey-trace-id`).
    reply.content = f"You asked: {question.content}"
    await reply.send()


@cl.on_feedback
async def vote(feedback: Feedback):
    """Saves a vote: Chainlit's 0 and 1 are -1 and 1 here. Raises httpx.HTTPStatusError if it is refused."""
    user = cl.context.session.user
    metadata = {"_user": user.identifier if user else f"thread-{feedback.threadId}"}
    if feedback.threadId:
        metadata["_session"] = feedback.threadId
    body = {"trace_id": feedback.forId, "value": 1 if feedback.value else -1, "metadata": metadata}
    if feedback.comment:
        body["comment"] = feedback.comment
    headers = {"x-portkey-api-key": os.environ["HINDSIGHT_KEY"], "x-hindsight-upsert": "user"}
    async with httpx.AsyncClient(base_url=os.environ["HINDSIGHT_URL"], timeout=30) as client:
        response = await client.post("/v1/feedback", json=body, headers=headers)
        response.raise_for_status()
