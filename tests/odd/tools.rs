//! The odd files, read by the installed tools.

use libtest_mimic::Trial;

use crate::common::bz2::ours::{self, End, POOLS};
use crate::common::skip::with_tool;
use crate::common::tool::Tool;
use crate::compressing::CONTENTS;
use crate::files;

const PYTHON: &str = "import bz2, sys; sys.stdout.buffer.write(bz2.decompress(sys.stdin.buffer.read()))";

pub fn trials() -> Vec<Trial> {
    vec![
        trial("bzip2", "bzip2_agrees", || agrees(|| Tool::new("bzip2").arg("-dc"), true)),
        // The decoder of bzip2 that takes less memory.
        trial("bzip2", "bzip2_-s_agrees", || agrees(|| Tool::new("bzip2").arg("-dcs"), true)),
        // lbzip2 takes a damaged stream after a good one for garbage, and it is stricter than bzip2 with codes
        // and selectors.
        trial("lbzip2", "lbzip2_reads_what_we_make", || reads(|| Tool::new("lbzip2").arg("-dc"))),
        trial("pbzip2", "pbzip2_reads_what_we_make", || reads(|| Tool::new("pbzip2").arg("-dc"))),
        trial("python3", "python_reads_the_good_ones", || agrees(|| Tool::new("python3").args(["-c", PYTHON]), false)),
    ]
}

/// Checks that the tool reads the same content from each file and, if `refuses`, that it refuses what we refuse.
fn agrees(tool: impl Fn() -> Tool, refuses: bool) {
    for (name, make) in files() {
        let odd = make();
        let (file, expected) = &odd.variants[0];
        let good = !matches!(expected.end, End::Damaged(_));
        if !good && !refuses {
            continue;
        }
        let outcome = tool().input(&file[..]).run();
        // bzip2 accepts an empty file.
        let accepted = outcome.status.success() && !file.is_empty();
        assert_eq!(accepted, good || odd.refused_by_us_alone, "{name}: {outcome}");
        assert!(!good || outcome.stdout == expected.bytes, "{name}: {outcome}");
    }
}

/// Checks that the tool decompresses what we compressed.
fn reads(tool: impl Fn() -> Tool) {
    for (name, make) in CONTENTS {
        let content = make();
        let outcome = tool().input(ours::compress(&content, 1, &POOLS[0], &[content.len()])).run();
        assert!(outcome.status.success() && outcome.stdout == content, "{name}: {outcome}");
    }
}

fn trial(tool: &str, name: &str, check: impl FnOnce() + Send + 'static) -> Trial {
    with_tool(tool, name, || {
        check();
        Ok(())
    })
}
