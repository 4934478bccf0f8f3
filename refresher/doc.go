// Package refresher gets new tokens before the old ones end, and is the only
// place where a refresh token is spent: for the schedule, for readers, for
// operators who force it and for runners whose token an API rejected alike.
//
// A rotating refresh token works once. So one refresh of a credential is one
// flight, which everybody who needs it joins, and which goes on when all of them
// have left. Its steps, in this order, are the methods of flight:
//
//  1. join or start the one flight of the credential;
//  2. read the credential again: another may have done the work;
//  3. check that the outcome can be kept, else spend nothing;
//  4. write durably what is about to be spent, so that a crash is noticed;
//  5. ask the provider;
//  6. commit the new tokens, unless the credential got others meanwhile;
//  7. publish them, never before they are durable.
//
// A failure never deletes or wipes anything. What it means is decided by
// classify alone, from facts; when to ask again, by nextRefresh.
//
// How to speak to a provider is left to the [broker.AuthorizationServer], and
// who may ask to the broker. Nothing here assumes more than one daemon, but each
// write compares what it replaces.
package refresher
