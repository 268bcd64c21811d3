//! Actions during a call: HTTP tools behind a gate and an egress guard.
//!
//! A tool call passes three doors. The [`Gate`] of the phone call checks the tool's id against the
//! agent's closed list, the arguments against their declarations, the approval of the flow and the
//! budget, and hands out an [`Admitted`] call. [`HttpTools`] runs admitted calls only: retries where
//! safe, a circuit breaker per tool. Everything it sends goes through [`Egress`], the only client that
//! may leave the machine.

pub mod address;
pub mod egress;
pub mod gate;
pub mod http;
pub mod limits;
pub mod policy;
pub mod set;

pub use egress::{Egress, EgressAnswer, EgressError, EgressRequest, EgressSetupError, HostResolver, SystemResolver};
pub use gate::{Admitted, CallBudget, Denied, Gate, ToolRequest};
pub use http::{HttpTools, ToolOutcome};
pub use policy::{CheckedUrl, EgressPolicy, HostRule, Refusal};
pub use set::{HttpTool, ToolProblem, ToolSet, ToolSetupError};
