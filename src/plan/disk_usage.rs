//! Whether a backup fills the disk of the volumes so far that CVAT stops working: from 90 % on it refuses logins (its setting
//! `CVAT_HEALTH_DISK_USAGE_MAX`).

use crate::host::Container;
use crate::live_mounts::LiveMount;
use crate::store::directory::Condition;

/// The variable of CVAT's containers that sets the limit, in percent.
const VARIABLE: &str = "CVAT_HEALTH_DISK_USAGE_MAX";

/// The limit where no container sets it.
const DEFAULT_PERCENT: u64 = 90;

/// The disk of an application that watches how full it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Watched {
    used: u64,
    free: u64,
    limit_percent: u64,
}

impl Watched {
    /// Returns the disk to which archives go, if a volume is on it and the containers that use the volumes watch it;
    /// `is_cvat` says that they do where none of them sets a limit.
    pub(super) fn of<'a>(
        condition: &Condition,
        mut mounts: impl Iterator<Item = &'a LiveMount>,
        containers: &[Container],
        is_cvat: bool,
    ) -> Option<Self> {
        let device = condition.lineage.first()?.device;
        mounts.find(|mount| mount.lineage.first().is_some_and(|id| id.device == device))?;
        let limit = containers.iter().flat_map(|container| &container.environment).find_map(|variable| {
            let value = variable.strip_prefix(VARIABLE)?.strip_prefix('=')?;
            value.trim().parse::<u64>().ok().filter(|percent| (1..=100).contains(percent))
        });
        let limit_percent = limit.or(is_cvat.then_some(DEFAULT_PERCENT))?;
        Some(Self { used: condition.used_bytes?, free: condition.free_bytes?, limit_percent })
    }

    /// Returns a note if archives of so many bytes cross the limit.
    pub(super) fn note(&self, bytes: u64) -> Option<String> {
        let (used, limit) = (u128::from(self.used), u128::from(self.limit_percent));
        let all = (used + u128::from(self.free)).max(1);
        let after = (used + u128::from(bytes)) * 100;
        (after > all * limit).then(|| {
            format!(
                "the disk of the volumes will be {} % full with the archives, and was {} %: CVAT refuses logins above {limit} % \
                 ({VARIABLE})",
                after.div_ceil(all),
                used * 100 / all,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::FileId;
    use crate::member::RelPath;
    use crate::plan::restore::{LiveKind, Way};

    #[test]
    fn the_limit_is_that_of_a_container_or_of_cvat() {
        let condition = Condition {
            lineage: vec![FileId { device: 7, inode: 1 }],
            free_bytes: Some(300),
            used_bytes: Some(700),
            obstacle: None,
        };
        let mount = |device| LiveMount {
            at: RelPath::root(),
            path: "/volume".into(),
            kind: LiveKind::Directory,
            way: Way::Exchange,
            lineage: vec![FileId { device, inode: 2 }],
            room: None,
            holds_entries: true,
        };
        let of = |device, environment: &[&str], is_cvat| {
            let environment = environment.iter().map(|variable| (*variable).to_owned()).collect();
            let containers = [Container::default(), Container { environment, ..Container::default() }];
            Watched::of(&condition, [mount(1), mount(device)].iter(), &containers, is_cvat)
        };
        let watched = |limit_percent| Some(Watched { used: 700, free: 300, limit_percent });
        assert_eq!(of(7, &[], true), watched(90));
        assert_eq!(of(7, &["A=1", "CVAT_HEALTH_DISK_USAGE_MAX=80"], true), watched(80));
        assert_eq!(of(7, &["CVAT_HEALTH_DISK_USAGE_MAX=80"], false), watched(80));
        for nonsense in
            ["CVAT_HEALTH_DISK_USAGE_MAX=x", "CVAT_HEALTH_DISK_USAGE_MAX=900", "CVAT_HEALTH_DISK_USAGE_MAXIMUM=1"]
        {
            assert_eq!(of(7, &[nonsense], true), watched(90));
        }
        assert_eq!(of(7, &[], false), None);
        assert_eq!(of(8, &[], true), None);
        let disk = of(7, &[], true).unwrap();
        assert_eq!(disk.note(200), None);
        let note = disk.note(201).unwrap();
        assert!(
            note.contains("will be 91 % full with the archives, and was 70 %: CVAT refuses logins above 90 %"),
            "{note}"
        );
        let huge = Watched { used: u64::MAX, free: 0, limit_percent: 90 };
        assert!(huge.note(u64::MAX).is_some());
    }
}
