// Package truth is a laboratory: a world of services in virtual time, read through the real discovery, scraper, store, engine, rules and
// provider. The world knows the true number at each moment, and judges every answer: right, refused with a reason, or WRONG.
//
// A scenario is a text of one statement a line (see Parse). Run plays it inside a testing/synctest bubble. Generate writes scenarios
// from a seed, Shrink makes a failing scenario small.
package truth
