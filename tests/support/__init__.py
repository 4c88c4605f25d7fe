"""What tests share and pytest does not bring: waiting for conditions, containers, terminals."""
