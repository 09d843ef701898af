// Package notify tells others how runs go: today the commit's checks at its git
// provider, one for each pipeline and one for each stage.
//
// What a commit should show under a name is one row, which each change of a run or a
// stage moves on, never back; a row that is due is sent as it is then. So a check is
// sent at least once, an older status never overwrites a newer one, and a stage that
// is over before its row is due costs one call.
package notify
