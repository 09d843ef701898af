// Package e2e is the platform as its users, its git providers and its operator meet
// it: the three programs, a data folder, real git over files and over smart HTTP, and
// webhook bodies as the providers send them. It holds tests alone.
package e2e
