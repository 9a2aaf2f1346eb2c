"""From events to writes: work queue, controllers, the applier, and the manager that runs them all."""
