// Package policyfile reads the file that says who may do what, and keeps what is
// in force the same as what it says. What a rule means is the business of the
// broker.
package policyfile
