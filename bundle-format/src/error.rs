//! Every refusal, in one table: code, what happened, whether the data is safe, what to do, exit status. SPEC §9.
//!
//! Rows are frozen once released. Error types of all rooms name a row by `fn code(&self) -> Code`; `zbundle error Z214`, the docs and the
//! tests are made from this table.

/// Exit status of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// A fault of ours or of the machine.
    Internal = 1,
    /// The command line was wrong.
    Usage = 2,
    /// Done in part: something was refused, left or is missing.
    Partial = 3,
    /// No node here.
    NoNode = 10,
    /// In use by another process.
    InUse = 11,
    /// Key or passphrase wrong.
    WrongKey = 12,
    /// Not trusted.
    NotTrusted = 13,
    /// Damaged or forged.
    Damaged = 14,
    /// No space.
    NoSpace = 15,
    /// The link failed; try later.
    Link = 16,
    /// A conflict or fork is open (`--check`).
    Conflict = 17,
    /// A peer is silent (`--check`).
    Silent = 18,
    /// The log is damaged.
    LogDamaged = 19,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `Z214`.
    pub code: Code,
    /// How a command that ends with this exits.
    pub exit: Exit,
    /// What happened, in a few words.
    pub title: &'static str,
    /// Whether the data is safe.
    pub safe: &'static str,
    /// What to do.
    pub hint: &'static str,
}

macro_rules! codes {
    ($($code:ident $exit:ident $title:literal $safe:literal $hint:literal;)*) => {
        /// The stable name of a refusal.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $title] $code,)* }

        /// The table.
        pub const CODES: &[Row] = &[$(Row { code: Code::$code, exit: Exit::$exit, title: $title, safe: $safe, hint: $hint },)*];

        impl Code {
            /// `"Z214"`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }
        }
    };
}

codes! {
    Z100 Internal "something happened that zbundle did not expect" "What was acknowledged stays safe." "run `zbundle fsck`; report this with the message and the version";
    Z101 Usage "the command line is not right" "Nothing was read or changed." "see `zbundle COMMAND --help`";
    Z102 NoNode "there is no node in this directory" "Nothing was read or changed." "name its directory with --data-dir, or make a node with `zbundle init NAME`";
    Z103 Usage "there is a node in this directory already" "It was not touched." "use it, or choose another --data-dir";
    Z104 InUse "another process is using this node" "Nothing was changed." "wait for it to end, or give it longer with --lock-wait";
    Z105 Usage "this data directory was made by another version" "It was not touched." "use the version that made it, or one that can read it";
    Z106 Usage "the configuration file cannot be understood" "Nothing was changed." "mend the line named above";
    Z107 Usage "this is not a possible node name" "Nothing was changed." "use 1 to 32 of a-z, 0-9 and -, not beginning with -";
    Z108 Usage "this needs a yes, and nobody can be asked" "Nothing was changed." "run it in a terminal, or add the flag named above";
    Z109 Usage "the output file or folder is there already or cannot be made" "Nothing was overwritten." "choose another place, or remove what is there";
    Z110 Internal "the process that kept the node ended before it answered" "What has an id is safe; of the rest it is not known whether it was stored." "look with `zbundle log`, then push again what is missing";
    Z111 Internal "standard output cannot be written" "What the command did is done and stays." "look at the reason above; see with `zbundle log` or `zbundle status` what was done before you run it again";
    Z112 Usage "this node belongs to another user" "Nothing was changed." "run it as the user named above, as nobody else writes into that directory; in a container, with --user";
    Z201 Internal "a file or folder cannot be read" "Nothing was changed." "look at the path and the reason above: where permission is denied it is another user's, and to be run as that user; otherwise try another stick or reader";
    Z202 Internal "a file or folder cannot be written" "What was acknowledged stays safe; nothing half-written was left under a final name." "look at the path and the reason above: read-only, permissions, or a failing disk";
    Z203 NoSpace "there is no space left" "What was acknowledged stays safe; nothing half-written was left under a final name." "make room and run it again; of many lines, push those that `zbundle log` does not show";
    Z211 Usage "this is not a bundle" "It was not touched." "choose a file that zbundle wrote; its name ends in .zb";
    Z212 Damaged "the bundle is cut short" "Nothing of it was taken; it was not touched." "copy it again, or wait until it has arrived whole";
    Z213 Damaged "the bundle is damaged: its checksum does not fit" "Nothing of it was taken." "copy it again from where it came";
    Z214 Partial "the stick gave back wrong data" "Safe on this computer; nothing was marked as sent." "take the stick out and put it back, run it again, or try another stick";
    Z215 Damaged "the bundle is forged: its checksum fits and its signature does not" "Nothing of it was taken." "do not trust its source; ask the sender for a new one";
    Z216 Damaged "the bundle is of a version this program does not know" "Nothing of it was taken." "update zbundle and try again";
    Z217 Damaged "the bundle's header breaks the format" "Nothing of it was taken." "ask the sender for a new one; its program may be faulty";
    Z218 Damaged "the bundle claims or holds more than a bundle may" "Nothing of it was taken." "do not trust its source";
    Z219 Damaged "there are bytes after the bundle's end" "Nothing of it was taken." "copy it again from where it came";
    Z221 Damaged "a sealed part of the bundle fails its tag" "Nothing of it was taken." "copy it again from where it came; if it fails again, do not trust its source";
    Z222 Damaged "the bundle's inside breaks the format" "Nothing of it was taken." "ask the sender for a new one; its program may be faulty";
    Z223 Damaged "the bundle holds something this version must understand and does not" "Nothing of it was taken." "update zbundle and try again";
    Z224 Damaged "compressed records in the bundle do not unpack to what they claim" "Nothing of it was taken." "do not trust its source";
    Z225 Damaged "records in the bundle are not what their origin signed" "Nothing of it was taken." "do not trust its source; the origin's own bundles are good";
    Z226 Damaged "an event in the bundle breaks the format" "Nothing of it was taken." "ask the origin for a corrected program; its later events wait";
    Z227 Partial "what this bundle holds begins after a gap" "It is kept in held/ and will be taken when the gap is filled." "bring the bundle that is missing; our next bundle asks for it";
    Z228 Partial "a history has forked: its origin has used the same numbers twice" "Both branches are kept; nothing was overwritten." "the device was restored or cloned: see `zbundle status`, then `zbundle fork close`";
    Z229 Usage "this is not a regular file" "It was not touched." "name a file, or a folder that holds bundles";
    Z231 NotTrusted "this place has not been prepared for zbundle" "Nothing was read or changed." "check that it is the right stick; a new one is prepared once: `zbundle stick init DIR`, a shared folder with --folder";
    Z232 Usage "no stick is mounted here" "Nothing was read or changed." "put the stick in, mount it, and run it again";
    Z233 NotTrusted "the marker ZBUNDLE.TXT or the folder zbundle is not what it should be" "Nothing was read or changed." "look at the one named above: update zbundle, or take another stick; if it is damaged, remove it and prepare the stick again";
    Z234 Partial "the stick cannot be written: it is read-only" "Safe on this computer; what was on the stick has been taken in." "move its lock switch, look at it on another computer, or use another stick";
    Z235 Partial "the stick is full" "Safe on this computer; what was copied is whole." "use another stick for the rest";
    Z236 NoSpace "the stick has no room for even one record" "Safe on this computer; nothing was copied." "make room on it, or use another stick";
    Z237 Partial "the stick was taken out too early, or stopped answering" "Nothing is lost: safe on this computer, and nothing was marked as sent." "put it back and run it again, or try another stick";
    Z238 Usage "this place has been prepared already" "It was not touched." "use it as it is; to prepare it anew remove its ZBUNDLE.TXT";
    Z239 Partial "the store for others is full" "What is in it stays; what found no room was left where it is." "give it more room with --quota, or carry it on first";
    Z240 Partial "a file in a watched folder has stopped arriving" "Nothing of it was taken; it was not touched." "wait, it is taken once it is whole; if nothing brings the rest, copy it again; see whether a sync program still runs";
    Z241 Partial "the folder holds more than is searched" "What was found first was taken; the rest was not touched." "take out what is no bundle, or name the inner folders one by one";
    Z242 NoSpace "little space is left, so nothing more is taken from folders" "What came lies where it came; nothing was lost." "make room; what waits is taken then";
    Z243 Partial "the watched folder is not there" "Nothing was read or changed." "put the stick in or mount the folder; while `zbundle watch` runs it is taken up then";
    Z244 Partial "this user may not use the folder for bundles" "Nothing is lost: safe on this computer, and nothing was marked as sent." "let this user read and write it, or mount the stick so that it may";
    Z245 Usage "there is no such file or folder" "Nothing was read or changed." "look at the path above";
    Z301 LogDamaged "a part of the log is damaged" "The rest is readable; the damaged bytes are kept aside." "run `zbundle fsck`; what others hold comes back with the next exchange";
    Z302 LogDamaged "the log was written with another key, or tampered with" "Nothing was changed." "check --key-file; if it is the right one, restore the directory from a copy";
    Z303 Internal "the disk failed to store what was written" "What was acknowledged before stays safe; what was not acknowledged is unknown." "check the disk and its cable, then run it again; before a push, look with `zbundle log` what is there";
    Z304 Done "an unfinished write at the end of the log was dropped" "It had not been acknowledged; nothing acknowledged was lost." "nothing; this is what a power cut leaves";
    Z305 Done "the clock and this node's stamps stand more than a day apart" "Order and identity of events do not depend on it." "set the clock; the events keep the stamp they got";
    Z306 Done "this computer lost some records and starts a new number series" "What others hold of it comes back; what they lack is written again." "nothing; find out which card or image was restored";
    Z307 LogDamaged "a small file of this node cannot be read" "Your records are safe: the log was not touched." "restore the file named above from a copy; one in peers or places may be moved away instead, it is made again";
    Z308 Done "a small file beside the log was damaged" "No record is lost." "nothing; it is made again, and some things are sent twice";
    Z401 Usage "the payload is larger than 16 MiB" "Nothing was stored." "split it, or keep it outside and push a reference";
    Z402 Partial "a line is not JSON" "It was not stored; the other lines go on." "mend the line and push it again";
    Z403 Partial "a line is longer than a payload may be" "It was not stored; the other lines go on." "split it, or push it as a file";
    Z404 Usage "a field of the event is empty, too long or malformed" "Nothing was stored." "look at the field named above";
    Z405 Usage "this is not the id of an event here" "Nothing was stored." "take the id from the line that push or log printed";
    Z406 Usage "no member of that name" "Nothing was changed." "see `zbundle members`";
    Z407 Usage "no origin of that name" "Nothing was changed." "see `zbundle status`";
    Z410 Internal "the tables made from the log cannot be read or written" "The log was not touched; the tables can be made again at any time." "run `zbundle project --rebuild`; if that fails too, look at the disk";
    Z411 Usage "this file is a database that zbundle did not make, or a later version did" "It was not touched." "choose another file, or update zbundle";
    Z412 Usage "there is no record of that key here" "Nothing was changed." "see `zbundle conflicts list`, or `zbundle log --key`";
    Z413 Usage "the record is not in conflict" "Nothing was changed." "see `zbundle conflicts show`";
    Z414 Usage "this idempotency key was used for another content" "Nothing was stored." "use a new key for a new event; the event above has the old one";
    Z415 Partial "the program of a conflict rule did not decide" "The record stays in conflict, all versions kept." "run it by hand; docs/sql.md says what it gets on stdin and what it may answer";
    Z416 NotTrusted "only a hub settles conflicts by rules" "Nothing was written." "run it at a hub: the authority, or a member signed with --policy all";
    Z417 Usage "this node has begun as many histories as others take of it" "Nothing was stored." "push to a lane and audience that it has written to before, or join again as a new member";
    Z430 Usage "the cursor is not of this log" "Nothing was read or changed." "the log was restored or made anew: read again from the beginning; ids tell what you have already";
    Z431 Usage "the body is not JSON" "Nothing was stored." "mend it, or name its content type: other types are stored as they come";
    Z432 Usage "nothing is at this address, or not for this method" "Nothing was read or changed." "see docs/http-api.md, or ask for /v1/openapi.json";
    Z433 Usage "the request is not as it should be" "Nothing was stored." "see docs/http-api.md, or ask for /v1/openapi.json";
    Z434 NotTrusted "the token is missing or wrong" "Nothing was read or changed." "send what stands in http.token in the data directory as `Authorization: Bearer TOKEN`";
    Z435 NotTrusted "the request was made for another host, or by a page of another" "Nothing was read or changed." "use the address that serve printed; a proxy must pass Host on as that address";
    Z436 InUse "too many requests at once" "Nothing was stored." "send it again in a moment";
    Z437 Usage "HTTP is offered on this machine only" "Nothing was changed." "use unix, unix:PATH, or a loopback address with a port; for others put a proxy with TLS in front";
    Z438 Usage "the payload does not fit the schema" "It was not stored." "mend what is named above: a place in the payload and the rule it breaks";
    Z439 Usage "the schema cannot be used" "Nothing was read or changed." "mend it; a schema stands alone: what it refers to in other files is copied into it";
    Z440 Internal "a program that was to be told did not do its work" "Nothing here was changed by it." "run it by hand with a line of `zbundle status --check --json` on its stdin";
    Z441 Usage "what was decided on is out of date" "Nothing was stored." "look at the record again (on the page: load it again), and decide by what it shows now";
    Z501 Link "the link could not be made" "Nothing was sent or taken; what was pushed here stays safe." "check the address and the network, and try again later; meanwhile a bundle can travel on a stick";
    Z502 Link "the link broke" "What was acknowledged stays safe; nothing else was marked as sent." "run it again; it goes on where it stopped";
    Z503 Link "the peer was silent for too long" "What was acknowledged stays safe; nothing else was marked as sent." "try again later; if it stays silent, look after its machine and the line";
    Z504 Link "what is at the other end does not speak zbundle's TLS" "Nothing was sent or taken." "check the address and the port; a login page or proxy in between must let the connection pass untouched";
    Z505 Damaged "the peer broke the protocol" "What was acknowledged stays safe; what broke the protocol was not taken." "update zbundle on both sides and try again; if it fails again, do not trust this peer or the line";
    Z506 Link "the peer cannot go on now" "What was acknowledged stays safe; nothing else was marked as sent." "try again later; if it stays so, look after its machine: its disk may be full";
    Z601 WrongKey "the key file or passphrase does not fit this node" "Nothing was changed." "name the right one with --key-file";
    Z602 WrongKey "the key file is not there" "Nothing was changed." "name it with --key-file; it lies outside the data directory";
    Z603 WrongKey "the key file or passphrase cannot be used" "Nothing was changed." "the file must be readable by you alone; a key file is one that `zbundle init` made";
    Z604 NotTrusted "this node has not joined a domain yet" "What was pushed is safe and will travel when it has joined." "run `zbundle request`, have it signed, then `zbundle join`";
    Z605 NotTrusted "the name is taken by another node" "Nothing was changed." "choose another name, or use --rekey for the same node";
    Z606 NotTrusted "this join file is for another node" "Nothing was changed." "take the one made from this node's own request";
    Z607 NotTrusted "the six words were not confirmed" "Nothing was changed." "compare the words on both screens; if they differ, stop: somebody may have changed the file";
    Z608 NotTrusted "only the authority of the domain may do this" "Nothing was changed." "run it on the authority's node";
    Z609 Damaged "this is not a request or join file, or it is damaged" "Nothing was changed." "copy it again from where it came";
    Z610 NotTrusted "the roster may have lost its newest events" "Nothing was signed." "take in a member's bundle first, or be sure with --i-am-sure";
    Z611 Done "the bundle is sealed for somebody else" "It was not touched." "carry it on; `zbundle inspect` shows whom it is for";
    Z612 NotTrusted "the sender is not in the roster" "Nothing of it was taken; a copy waits in held/ in case the roster comes later." "bring the newest roster, or ask who sent it";
    Z613 NotTrusted "the bundle belongs to another domain" "Nothing of it was taken." "carry it on; it is not for this network";
    Z614 NotTrusted "the sender's key has been replaced or revoked" "Its records are kept apart; its receipt was not believed." "see `zbundle members`; the authority decides with `zbundle accept`";
    Z615 Partial "the signer of some records is not in the roster" "The bundle is kept in held/ until the roster comes." "bring the newest roster";
    Z616 NotTrusted "this node may not do that to a member" "Nothing was changed." "see `zbundle members`";
    Z617 Conflict "the roster has forked" "Data goes on; revocations of both branches apply." "the authority runs `zbundle heal`";
    Z618 NotTrusted "the node has been joined already" "Nothing was changed." "a node stays in its domain; for new keys there is `zbundle request --new-keys` there, and `zbundle sign --rekey NAME` at the authority";
    Z619 Damaged "an event of the roster breaks its rules" "It is stored and has no effect; the rest of the roster counts." "update the authority's program; see `zbundle members`";
    Z620 NotTrusted "the peer's key is not in the roster" "Nothing of ours was shown to it, nothing of it was taken." "check the address; if the peer is new, bring the newest roster, or have it join";
    Z621 NotTrusted "our roster is too old to know the peer" "Nothing was sent or taken; what was pushed here stays safe." "bring the newest roster by file: have a member cut a bundle for this node, and ingest it here";
    Z622 NotTrusted "the peer refuses our key: it has been replaced or revoked" "Nothing more was sent or taken; what was pushed here stays safe." "ask the authority; a device that comes back needs new keys: `zbundle request --new-keys`";
    Z623 WrongKey "the keyring of this node is not there" "Its log was not touched; without the keyring nothing in it can be read." "put the file `keyring` back from a copy of this directory; if there is none, choose another --data-dir for a new node";
}

impl Code {
    /// Its row.
    ///
    /// # Panics
    /// Never: the macro makes the enum and the table from the same lines.
    #[expect(clippy::indexing_slicing, reason = "a variant's number is its row's place: one macro makes both")]
    pub fn row(self) -> &'static Row {
        &CODES[self as usize]
    }

    /// From `"Z214"`.
    pub fn from_name(name: &str) -> Option<Self> {
        CODES.iter().map(|row| row.code).find(|code| code.as_str() == name)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_order_and_find_themselves() {
        assert!(CODES.windows(2).all(|pair| pair[0].code.as_str() < pair[1].code.as_str()));
        assert!(CODES.iter().all(|row| row.code.row().title == row.title && Code::from_name(row.code.as_str()) == Some(row.code)));
    }
}
