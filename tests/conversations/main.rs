//! Whole conversations in virtual time, each a readable script.
//!
//! A script has one line per step. What the agent must do: `agent: words`, `tool id {arguments}`,
//! `classify`, `transfer id`, `hangup reason` (with `completed` when the task was done). What happens to it:
//! `caller: words`, `caller 0.3: words` (confidence), `silence`, `keys: 555`, `cut: what was heard`,
//! `answers {json}`, `fails kind {json}`, `ranking book 0.7, prices 0.2`, `accepted`, `refused`, `down stage`,
//! `busy stage`. The agent must do exactly what the script says, in this order, and nothing else.

mod asides;
mod booking;
mod corrections;
mod failures;
mod stage;
