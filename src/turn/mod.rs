//! Decides **when** the agent speaks: end of turn, barge-in, no input; and keeps the latency ledger.
