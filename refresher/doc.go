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
// Between steps 2 and 3 stands the circuit of the token endpoint: while that fails
// for everybody, one probe at a time asks, and the others wait and spend nothing.
//
// A failure never deletes or wipes anything. What it means is decided by
// classify alone, from facts; when to ask again, by nextRefresh.
//
// Lazy credentials are renewed when somebody reads them; the schedule only keeps
// alive what would die of disuse. After a start or a long sleep, tokens that ended
// meanwhile are renewed spread out, after those that still live. Readers wait for
// none of this: their flights need no worker of the schedule.
//
// # States
//
// What a credential can be in, and every event that takes it elsewhere:
//
//	pending         --token-->    active
//	pending         --failed-->   degraded
//	pending         --refused-->  reauth_required
//	active          --failed-->   degraded
//	active          --refused-->  reauth_required
//	degraded        --token-->    active
//	degraded        --refused-->  reauth_required
//	degraded        --client-->   active
//	degraded        --grant-->    active
//	reauth_required --token-->    active
//	reauth_required --grant-->    active
//
// token: a refresh, a person who consents or an operator brought a new access
// token. failed: a refresh was asked for in vain, and will be again. refused:
// the provider says that the grant is gone. client, grant: an operator wrote
// another client secret, or another refresh token. Whatever is not drawn leaves
// the state as it is: from reauth_required, no failure and no other client leads
// out. A credential that has no access token yet becomes pending where the
// diagram says that client or grant make it active.
//
// What is shown is another state than the stored one where other facts say so.
// It is worked out anew each time, so that it costs no write however many it
// strikes at once, and ends when the fact does:
//
//	pending         ~~hindered~~> degraded
//	active          ~~hindered~~> degraded
//	active          ~~ended~~>    degraded
//	active          ~~over~~>     expired
//	degraded        ~~over~~>     expired
//	pending         ~~off~~>      disabled
//	active          ~~off~~>      disabled
//	degraded        ~~off~~>      disabled
//	reauth_required ~~off~~>      disabled
//
// hindered: a refresh is wanted and not made, since the circuit of the token
// endpoint is open or the store cannot be written. ended: the token did, and it
// is none that is renewed only when somebody reads it. over: it ended and nothing
// is at hand to renew it with. off: isActive is false.
//
// # Neighbours
//
// How to speak to a provider is left to the [broker.AuthorizationServer], and
// who may ask to the broker. Nothing here assumes more than one daemon, but each
// write compares what it replaces.
package refresher
