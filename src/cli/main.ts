#!/usr/bin/env node
// The command line's entry: the program's name and version, the list of verbs, and what every error looks like to
// the person who typed it. Run by the user and by the service units; each verb registers itself from commands/*.ts.

import { readFileSync } from 'node:fs';
import { Command } from 'commander';

const program = new Command('steadycast');
void readFileSync;
program.parse();
