//! Several compose projects beside each other, and a scaled service, on the engine of this machine.

use crate::common::projects::{self, FILE, Host};
use crate::common::tool::Tool;
use crate::stack::{Stack, Test, compose_command};

pub const TESTS: &[Test] = &[
    ("projects_are_told_apart", |stack| with(stack, projects::are_told_apart)),
    ("projects_with_a_scaled_service", |stack| with(stack, projects::replicas_share_their_files)),
];

fn with(stack: &Stack, body: fn(&Host<'_>)) {
    body(&Host {
        docker: &|args| Tool::new("docker").args(args),
        compose: &|project, args| compose_command(project, &[FILE], args),
        voltar: &|args| stack.voltar(args),
        directory: &stack.work(),
    });
}
