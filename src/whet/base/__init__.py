"""What every installation holds: the base model `whetstone`, the promise data, a speech, and plain English kept aside."""
