//! One call from ring to hang-up: the driver that feeds the pure machines and executes their effects.
