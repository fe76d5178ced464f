"""What every installation holds: the base model `whetstone`, the embedded promise data, a speech, and plain English kept aside."""
