"""What the user asks for: YAML files, presets and flags, checked and merged into one `Config`."""
