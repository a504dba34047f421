"""Questions asked of a model: by the benches of a checkout, and by `xaimed bench` of the user's own."""
