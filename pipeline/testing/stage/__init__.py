"""A whole worker on a virtual clock with scripted answers: what `hookline test` plays its cases on."""
