"""Files on their way between a store and this machine's folders, or between stores."""
