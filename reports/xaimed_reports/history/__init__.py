"""What runs were like over time: a store that only grows, the judgement of the newest run, and a page of trends."""
