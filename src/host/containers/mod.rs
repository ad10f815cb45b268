//! Stopping containers for a backup or a restore, and starting them again: when the run ends, whether it
//! succeeds or fails, or with `resume` after it was killed. `plan` decides which containers are stopped. Only a container
//! that voltar itself has stopped is started. And checking, after that, that an application works.

mod checks;
mod health;
mod restartable;
mod resume;
mod start;
mod stop_order;
mod stop_record;
mod stopped;

#[cfg(test)]
mod fake_host;

pub use crate::durable::state_dir::state_dir;
pub use checks::{ContainerCheck, run_checks};
pub use restartable::{Why, not_restartable, paused, swarm_tasks};
pub use resume::{Leftover, leftovers, resume};
#[doc(hidden)]
pub use stop_record::parse_stop_record;
pub use stopped::Stopped;
