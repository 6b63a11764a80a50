// Goal: as gate/strangers, with 200 connections with a wrong key.
import './strangers.test.ts';
