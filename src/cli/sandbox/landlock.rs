//! Which files can be reached.
use super::paths::Paths;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::PathBuf;

/// What older systems know of these is asked of them; what they do not know, they do not keep anybody from.
const KNOWN: ABI = ABI::V6;

/// Rules that are ready to be put in force.
pub(super) struct Rules(RulesetCreated);

/// Makes the rules. Files that are not there are passed over.
///
/// # Errors
/// If the system has no Landlock.
pub(super) fn rules(paths: &Paths) -> Result<Rules, RulesetError> {
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        // Nor are processes and sockets of others reached, as far as they have no path.
        .scope(Scope::from_all(KNOWN))?
        .create()?;
    let mut rules = Rules(rules);
    rules.add(&paths.read, AccessFs::ReadFile | AccessFs::ReadDir)?;
    rules.add(&paths.exec, AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute)?;
    rules.add(&paths.write, writing())?;
    Ok(rules)
}

/// What is done with the files of users: no more than FTP can ask for.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::RemoveDir
        | AccessFs::RemoveFile
        | AccessFs::MakeDir
        | AccessFs::MakeReg
        | AccessFs::MakeSym
        // To rename from one directory into another.
        | AccessFs::Refer
}

impl Rules {
    fn add(&mut self, paths: &[PathBuf], access: BitFlags<AccessFs>) -> Result<(), RulesetError> {
        for path in paths {
            let Ok(handle) = PathFd::new(path) else { continue };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
            (&mut self.0).add_rule(PathBeneath::new(handle, access))?;
        }
        Ok(())
    }

    /// Puts the rules in force for this thread and those that it will start, for good. Gives the version of Landlock.
    pub(super) fn apply(self) -> Result<i32, RulesetError> {
        let status = self.0.restrict_self()?;
        debug_assert_ne!(status.ruleset, RulesetStatus::NotEnforced);
        Ok(match status.landlock {
            LandlockStatus::Available { kernel_abi: Some(abi), .. } => abi,
            LandlockStatus::Available { effective_abi, kernel_abi: None } => effective_abi as i32,
            LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
        })
    }
}
