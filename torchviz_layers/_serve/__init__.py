"""The insides of the live page: what is served, how it is laid out, marks, and one session a browser tab."""
