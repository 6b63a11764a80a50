// Goal: as 11-strangers, with 200 connections with a wrong key.
import './11-strangers.test.ts';
