//! The rank of threads: work that can wait lets everything else go first while cores are short. Only on Linux does a
//! thread have a rank of its own; elsewhere all of them keep the usual one.

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

/// What yields to everything of any other rank, and gets a few thousandths of a core that nobody leaves idle.
#[cfg(target_os = "linux")]
pub(crate) const LAST: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);

/// Puts the calling thread, and those that it starts from now on, behind all others. Where that is not allowed they work
/// with the usual rank.
pub(crate) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, LAST) {
        tracing::debug!(?error, "work that can wait is done with the rank of everything else");
    }
}

/// The calling thread's rank.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn current() -> Result<ThreadSchedulePolicy, thread_priority::Error> {
    thread_priority::thread_schedule_policy()
}

/// Linux's number of [`LAST`].
#[cfg(all(test, target_os = "linux"))]
pub(crate) const IDLE: u32 = 5;

/// Linux's numbers of the ranks of this process's threads with that name.
#[cfg(all(test, target_os = "linux"))]
pub(crate) fn policies(name: &str) -> Vec<u32> {
    let policy = |task: std::path::PathBuf| {
        let is_meant = std::fs::read_to_string(task.join("comm")).ok()?.trim() == name;
        let stat = std::fs::read_to_string(task.join("stat")).ok().filter(|_| is_meant)?;
        // The 41st field; the second is a name in parentheses.
        stat.rsplit(") ").next()?.split(' ').nth(38)?.parse().ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    // A thread of another test may end meanwhile.
    tasks.filter_map(|task| policy(task.ok()?.path())).collect()
}
